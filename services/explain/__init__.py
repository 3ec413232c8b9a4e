"""Why a signal was given: rebuilt from what is stored, compared with what was recorded."""
