"""Bytes ⇄ products: MRC, STAR, and the folder a product is kept in."""
