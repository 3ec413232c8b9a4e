"""Pages that need nothing but a browser: charts and tables in one file."""
