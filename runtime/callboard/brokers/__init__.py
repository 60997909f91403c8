"""The contracts between message systems and everything above them, and what all of them share."""
