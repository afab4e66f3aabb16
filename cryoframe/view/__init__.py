"""What people see: live bars, tables, pictures, plots, the HTML report. Decides nothing."""
