package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/overlay"
)

// transaction is what an attempt at an Update runs in: one of its own, or its part in that of a group. After a failure nothing works.
type transaction interface {
	get(keys [][]byte) ([]store.Pair, error) // the rows that there are, in any order
	scan(from, end []byte, limit int) ([]store.Pair, error)
	failure() (verdict, error) // the first; nil while all went well
	commit(writes []overlay.Entry) (verdict, error)
	end() // drops what was not committed
}

// tx is one transaction of the server, on a connection of its own from its first statement on. It is used by one goroutine.
type tx struct {
	s        *Store
	ctx      context.Context // of the caller: looked at between statements, so that a connection outlives it
	writes   bool            // it is an Update's
	patience context.Context // until its end the first statement is repeated on other connections; nil: never

	conn *pgxpool.Conn
	line *line // nil until the first statement

	verdict verdict
	err     error // the first failure: nothing works afterwards
}

// getting selects the rows of keys.
func getting(keys [][]byte) query {
	if len(keys) == 1 {
		return query{selectOne, keys}
	}
	return query{selectMany, [][]byte{byteas(keys)}}
}

// scanning selects up to limit rows from a key on, and before end unless that is nil.
func scanning(from, end []byte, limit int) query {
	if end == nil {
		return query{selectFrom, [][]byte{from, bigint(limit)}}
	}
	return query{selectRange, [][]byte{from, end, bigint(limit)}}
}

func (t *tx) get(keys [][]byte) ([]store.Pair, error) { return t.one(getting(keys)) }

func (t *tx) scan(from, end []byte, limit int) ([]store.Pair, error) {
	return t.one(scanning(from, end, limit))
}

func (t *tx) one(q query) ([]store.Pair, error) {
	answers, err := t.query(q)
	if err != nil {
		return nil, err
	}
	return answers[0], nil
}

func (t *tx) failure() (verdict, error) { return t.verdict, t.err }

// query runs statements that select pairs; the first ones begin the transaction in the same round trip.
func (t *tx) query(queries ...query) ([][]store.Pair, error) {
	for n := 1; t.err == nil; n++ {
		if t.err = t.ctx.Err(); t.err != nil {
			break
		}
		first := t.line == nil
		answers, err := t.try(queries)
		if err == nil {
			return answers, nil
		}
		v, err := judge(err, false)
		if first && v == lost && t.patience != nil && t.s.Err() == nil && pause(t.patience, v, n) {
			t.release(v)
			t.s.opt.Observer.Retried(Lost)
			continue
		}
		t.verdict, t.err = v, err
	}
	return nil, t.err
}

func (t *tx) try(queries []query) ([][]store.Pair, error) {
	if t.line != nil {
		return t.line.ask(queries)
	}
	if err := t.open(); err != nil {
		return nil, err
	}
	all := t.after(queries...)
	answers, err := t.line.ask(all)
	if err != nil {
		return nil, err
	}
	return answers[len(all)-len(queries):], nil
}

// after is what a transaction that has not begun sends before its first query, and that.
func (t *tx) after(queries ...query) []query {
	if t.writes {
		return append([]query{{statement: begin}}, queries...)
	}
	return queries
}

// open gets a connection. Waiting for that is the one thing that the caller's context ends.
func (t *tx) open() (err error) {
	ctx, cancel := context.WithTimeout(t.ctx, t.s.opt.Patience)
	defer cancel()
	observer := t.s.opt.Observer
	observer.Connections(0, 1)
	t.conn, err = t.s.pool.Acquire(ctx)
	observer.Connections(0, -1)
	if err != nil {
		t.conn = nil
		return fmt.Errorf("getting a connection: %w", err)
	}
	observer.Connections(1, 0)
	t.line, err = newLine(t.conn)
	return err
}

// commit writes and commits. Without writes it asks whether what was read was one state in the serial order.
func (t *tx) commit(writes []overlay.Entry) (v verdict, err error) {
	defer func() { t.verdict = v }()
	if t.line == nil && len(writes) == 0 {
		return final, nil
	}
	if err := t.ctx.Err(); err != nil {
		return final, err
	}
	queries := append(queriesOf(writes), query{statement: commit})
	if t.line == nil {
		if err := t.open(); err != nil {
			return judge(err, false)
		}
		queries = t.after(queries...)
	}
	clearWarning(t.conn)
	began := t.s.opt.Clock()
	tag, refused, err := t.line.finish(queries)
	if err != nil {
		return judge(err, len(writes) > 0 && !refused)
	}
	t.s.opt.Observer.CommittedRows(len(writes), t.s.opt.Clock().Sub(began))
	if tag.String() != "COMMIT" { // the server rolled back what had failed before
		return lost, fmt.Errorf("%w: the server did not commit but answered %s", store.ErrUnavailable, tag)
	}
	if w := warning(t.conn); w != nil && len(writes) > 0 {
		// Such as 01000: the wait for a standby was cancelled, and the transaction is on this server only.
		return final, fmt.Errorf("%w: committing: the server warns: %s (SQLSTATE %s)", store.ErrUnavailable, w.Message, w.Code)
	}
	return final, nil
}

// queriesOf are the statements for writes, in the order of their keys, which keeps deadlocks rare.
func queriesOf(writes []overlay.Entry) (queries []query) {
	var keys, values, gone [][]byte
	for _, e := range writes {
		if e.Deleted {
			gone = append(gone, e.Key)
			continue
		}
		keys, values = append(keys, e.Key), append(values, e.Value)
	}
	if len(keys) > 0 {
		queries = append(queries, query{upsertRows, [][]byte{byteas(keys), byteas(values)}})
	}
	if len(gone) > 0 {
		queries = append(queries, query{deleteRows, [][]byte{byteas(gone)}})
	}
	return queries
}

// end rolls back what was not committed and gives the connection back.
func (t *tx) end() { t.release(t.verdict) }

// release gives the connection back. The pool drops one that is broken or in a transaction; one that led to a server that is
// away or no primary any more is closed for that.
func (t *tx) release(v verdict) {
	if t.conn == nil {
		return
	}
	if v == lost {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), time.Second)
		defer cancel()
		_ = t.conn.Conn().Close(ctx) // it is given up, whether it could still say goodbye or not
	}
	if t.line != nil {
		t.line.close()
	}
	t.conn.Release()
	t.s.opt.Observer.Connections(-1, 0)
	t.conn, t.line = nil, nil
}
