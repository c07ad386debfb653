"""What notification needs of the outside: Mongo, SMTP, the SMS gateway."""
