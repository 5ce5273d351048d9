"""Decisions as plain functions over data. Imports no asyncio, os, socket, time, random, logging."""
