"""Signing in elsewhere: this server as a relying party of other OpenID providers (docs/upstream.md)."""
