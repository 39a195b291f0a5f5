"""What every package uses: errors, events, steps, files, processes, text and foreign data."""
