"""The electron dose: what the beam gives, what a site has had, and what it may still have."""
