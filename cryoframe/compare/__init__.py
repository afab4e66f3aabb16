"""Comparing implementations and comparing with truth: one published definition a number, never the plugin's own."""
