"""The local token issuer, the directory of its clients, and the file with the credentials of this platform."""
