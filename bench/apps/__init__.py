"""The programs that the contenders serve: the same work, written the way each of them wants it."""
