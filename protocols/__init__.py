"""The paper's experiments as protocol files; ``stmtem protocols`` lists them."""
