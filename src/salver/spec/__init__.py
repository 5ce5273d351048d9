"""What is wanted and what is seen, as plain data: frozen, validated, serialisable. No I/O."""
