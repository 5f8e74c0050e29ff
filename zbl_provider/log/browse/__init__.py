"""What people ask of the delivery log: the page and the command line read here."""
