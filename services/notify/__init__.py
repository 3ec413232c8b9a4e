"""Messages to the operator: trades and alerts, through Apprise (Telegram, Discord, mail ...)."""
