"""What a user of an export needs: a server's settings, a client, and a check on other engines."""
