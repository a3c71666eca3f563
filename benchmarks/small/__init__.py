"""Small fields, where what a library does around an evaluation takes longer than the evaluation."""
