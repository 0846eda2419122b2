"""Entries of foreign files, read and checked in the same way for every command."""
