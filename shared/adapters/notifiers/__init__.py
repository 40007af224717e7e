"""The gateways for messages to persons: SMTP, an SMS gateway, Firebase Cloud Messaging, and a file for trying."""
