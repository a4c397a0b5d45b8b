package patroni_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/postgres"
)

const (
	accounts = 24
	opening  = 1000 // on every account
)

// A move takes an amount from one account to another, having looked at a third. Every account counts the moves that changed it;
// the row of a move says which of those changes it made, and what it saw.
type move struct {
	from, to, amount     int
	fromAt, toAt, sawsAt int // the numbers of the changes it made, and of the last one it saw of the third
	third                int
}

const moveRow = "%d %d %d %d %d %d %d"

func accountKey(n int) []byte         { return fmt.Appendf(nil, "account/%03d", n) }
func moveKey(writer, call int) []byte { return fmt.Appendf(nil, "move/%03d/%08d", writer, call) }

// call is one Update, as its caller saw it.
type call struct {
	begun, acked time.Time // acked is zero when the outcome is unknown
}

// writer moves amounts again and again, and notes what was acknowledged.
type writer struct {
	number int
	mu     sync.Mutex
	calls  []call
	errs   map[string]int
}

// load is writers at work on a bank.
type load struct {
	writers []*writer
	stop    context.CancelFunc
	ended   sync.WaitGroup
}

// open makes the bank, which is ready for writers.
func openBank(t *testing.T, s store.Store) {
	t.Helper()
	err := s.Update(t.Context(), func(w store.Writer) (err error) {
		for n := range accounts {
			err = errors.Join(err, w.Set(accountKey(n), fmt.Appendf(nil, "%d 0", opening)))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// startLoad has a writer run on each store, the first of which has the number from.
func startLoad(from int, stores ...store.Store) *load {
	l := &load{}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	for i, s := range stores {
		w := &writer{number: from + i, errs: map[string]int{}}
		l.writers = append(l.writers, w)
		l.ended.Go(func() {
			for ctx.Err() == nil {
				w.call(ctx, s)
			}
		})
	}
	return l
}

func (l *load) end() {
	l.stop()
	l.ended.Wait()
}

// acked counts the Updates that were begun and acknowledged between two times.
func (l *load) acked(from, to time.Time) (n int) {
	for _, w := range l.writers {
		w.mu.Lock()
		for _, c := range w.calls {
			if c.begun.After(from) && !c.acked.IsZero() && c.acked.Before(to) {
				n++
			}
		}
		w.mu.Unlock()
	}
	return n
}

var errTwice = errors.New("an Update was carried out twice")

// call makes one move. An error leaves open whether it was made.
func (w *writer) call(ctx context.Context, s store.Store) {
	m := move{from: rand.IntN(accounts), amount: 1 + rand.IntN(9)}
	m.to = (m.from + 1 + rand.IntN(accounts-1)) % accounts
	m.third = rand.IntN(accounts)
	w.mu.Lock()
	number := len(w.calls)
	w.calls = append(w.calls, call{begun: time.Now()})
	w.mu.Unlock()
	err := s.Update(ctx, func(tx store.Writer) error { return m.make(tx, moveKey(w.number, number)) })
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		w.calls[number].acked = time.Now()
	} else if ctx.Err() == nil {
		w.errs[cause(err)]++
	}
}

// cause is the class of an error, for a report.
func cause(err error) string {
	for _, known := range []error{errTwice, store.ErrUnavailable, store.ErrClosed, postgres.ErrUnsafe} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return err.Error()
}

func (m *move) make(tx store.Writer, key []byte) error {
	values, err := tx.Get(key, accountKey(m.from), accountKey(m.to), accountKey(m.third))
	if err != nil {
		return err
	}
	if values[0] != nil {
		return errTwice
	}
	var from, to, third int
	for i, into := range [][2]*int{{&from, &m.fromAt}, {&to, &m.toAt}, {&third, &m.sawsAt}} {
		if _, err := fmt.Sscan(string(values[i+1]), into[0], into[1]); err != nil {
			return err
		}
	}
	m.fromAt++
	m.toAt++
	return errors.Join(
		tx.Set(key, fmt.Appendf(nil, moveRow, m.from, m.to, m.amount, m.fromAt, m.toAt, m.third, m.sawsAt)),
		tx.Set(accountKey(m.from), fmt.Appendf(nil, "%d %d", from-m.amount, m.fromAt)),
		tx.Set(accountKey(m.to), fmt.Appendf(nil, "%d %d", to+m.amount, m.toAt)))
}

// bank is what a server has.
type bank struct {
	balance, changes [accounts]int
	moves            map[string]move
}

// readBank reads a server without the store.
func readBank(t *testing.T, dsn string) *bank {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	rows, err := conn.Query(t.Context(), "select key, value from sandyq_rows")
	if err != nil {
		t.Fatal(err)
	}
	b := &bank{moves: map[string]move{}}
	for rows.Next() {
		var key, value []byte
		if err := rows.Scan(&key, &value); err != nil {
			t.Fatal(err)
		}
		var n int
		if _, err := fmt.Sscanf(string(key), "account/%d", &n); err == nil {
			_, err = fmt.Sscan(string(value), &b.balance[n], &b.changes[n])
			if err != nil {
				t.Fatal(err)
			}
			continue
		}
		var m move
		if _, err := fmt.Sscanf(string(value), moveRow, &m.from, &m.to, &m.amount, &m.fromAt, &m.toAt, &m.third, &m.sawsAt); err != nil {
			t.Fatal(err)
		}
		b.moves[string(key)] = m
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return b
}

// check holds a server's bank against what the writers were told: nothing acknowledged is lost, and all that is there is one
// serial order of moves, which agrees with the times at which they were begun and acknowledged.
func (b *bank) check(t *testing.T, loads ...*load) (acked, unknown, lost int) {
	t.Helper()
	times := map[string]call{}
	for _, l := range loads {
		for _, w := range l.writers {
			for n, c := range w.calls {
				key := string(moveKey(w.number, n))
				times[key] = c
				_, there := b.moves[key]
				switch {
				case c.acked.IsZero():
					unknown++
				case !there:
					lost++
					fallthrough
				default:
					acked++
				}
			}
		}
	}
	b.checkSums(t)
	b.checkOrder(t, times)
	return acked, unknown, lost
}

func (b *bank) checkSums(t *testing.T) {
	t.Helper()
	var balance, changes [accounts]int
	for n := range balance {
		balance[n] = opening
	}
	for _, m := range b.moves {
		balance[m.from] -= m.amount
		balance[m.to] += m.amount
		changes[m.from]++
		changes[m.to]++
	}
	if balance != b.balance || changes != b.changes {
		t.Errorf("the accounts are not what the moves made them:\n%v %v\n%v %v", b.balance, b.changes, balance, changes)
	}
}

// checkOrder looks for a serial order: a move comes after those whose changes it changed or saw, and before those that changed
// what it saw.
func (b *bank) checkOrder(t *testing.T, times map[string]call) {
	t.Helper()
	var made [accounts][]string // which move made the n-th change
	for n := range made {
		made[n] = make([]string, b.changes[n]+1)
	}
	note := func(account, at int, key string) {
		if at < 1 || at >= len(made[account]) || made[account][at] != "" {
			t.Fatalf("%s made change %d of account %d, of %d, as did %q", key, at, account, b.changes[account], made[account][at])
		}
		made[account][at] = key
	}
	for key, m := range b.moves {
		note(m.from, m.fromAt, key)
		note(m.to, m.toAt, key)
	}
	after := map[string][]string{} // edges of the order
	waits := map[string]int{}
	before := func(one, other string) {
		if one != "" && other != "" && one != other {
			after[one] = append(after[one], other)
			waits[other]++
		}
	}
	for _, changes := range made {
		var latest time.Time // begun, of all until here
		for at := 1; at < len(changes); at++ {
			before(changes[at-1], changes[at])
			c := times[changes[at]]
			if !c.acked.IsZero() && c.acked.Before(latest) {
				t.Errorf("%s was acknowledged before a move was begun that it comes after", changes[at])
			}
			if c.begun.After(latest) {
				latest = c.begun
			}
		}
	}
	for key, m := range b.moves {
		before(made[m.third][m.sawsAt], key)
		if m.sawsAt+1 < len(made[m.third]) {
			before(key, made[m.third][m.sawsAt+1])
		}
	}
	var free []string
	for key := range b.moves {
		if waits[key] == 0 {
			free = append(free, key)
		}
	}
	for n := 0; n < len(free); n++ {
		for _, next := range after[free[n]] {
			if waits[next]--; waits[next] == 0 {
				free = append(free, next)
			}
		}
	}
	if len(free) != len(b.moves) {
		t.Errorf("%d of %d moves are in no serial order", len(b.moves)-len(free), len(b.moves))
	}
}
