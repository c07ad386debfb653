"""The local inbox: a real SMTP server and an SMS gateway whose messages reach nobody, and a page that shows them."""
