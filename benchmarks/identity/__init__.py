"""The population on which the identity manager is measured, and the measures."""
