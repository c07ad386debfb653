"""What intake decides, with no IO: who gets which reference and receipt, what a repeated key means, which files."""
