package document

// Pretend makes as if n bytes had been written.
func (w *Writer) Pretend(n int64) { w.size = n }
