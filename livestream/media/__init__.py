"""Encoded media as data: samples, records and their way into and out of piece payloads."""
