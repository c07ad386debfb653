"""Decides who is told what, when, by which means, in which language, and keeps proof of it."""
