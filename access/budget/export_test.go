package budget

// Systems is how many systems the meter keeps in memory.
func (m *Meter) Systems() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.systems)
}
