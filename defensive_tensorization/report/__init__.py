"""Tables and figures: pure functions of result rows."""
