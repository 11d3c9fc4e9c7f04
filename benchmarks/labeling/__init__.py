"""Many labelers at once on the product's own web server: how long they wait, and whether an answer is ever lost."""
