"""What is for sale: SKUs with their kinds and prices, and the snapshot that shoppers search."""
