"""From a configuration to a trained network and its result rows."""
