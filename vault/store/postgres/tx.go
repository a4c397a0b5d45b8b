package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/store/overlay"
)

// The statements, which every connection keeps prepared. They are kept to what CockroachDB and YugabyteDB accept, too.
const (
	beginUpdate = "begin isolation level serializable"
	beginView   = "begin isolation level repeatable read read only"

	selectOne   = "select key, value from sandyq_rows where key = $1"
	selectMany  = "select key, value from sandyq_rows where key = any($1)"
	selectFrom  = "select key, value from sandyq_rows where key >= $1 order by key limit $2"
	selectRange = "select key, value from sandyq_rows where key >= $1 and key < $2 order by key limit $3"

	upsertRows = "insert into sandyq_rows (key, value) select * from unnest($1::bytea[], $2::bytea[])" +
		" on conflict (key) do update set value = excluded.value"
	deleteRows = "delete from sandyq_rows where key = any($1)"

	commit   = "commit"
	rollback = "rollback"
)

// tx is one transaction, on a connection of its own from its first statement on. It is used by one goroutine.
type tx struct {
	s        *Store
	ctx      context.Context // of the caller: looked at between statements, so that a connection outlives it
	begin    string
	patience context.Context // until its end the first statement is repeated on other connections; nil: never

	conn  *pgxpool.Conn
	begun bool

	verdict verdict
	err     error // the first failure: nothing works afterwards
}

// query runs a statement that selects pairs; the first one begins the transaction in the same round trip.
func (t *tx) query(statement string, arguments ...any) ([]store.Pair, error) {
	for n := 1; t.err == nil; n++ {
		if t.err = t.ctx.Err(); t.err != nil {
			break
		}
		pairs, err := t.try(statement, arguments)
		if err == nil {
			return pairs, nil
		}
		v, err := judge(err, false)
		if !t.begun && v == lost && t.patience != nil && t.s.Err() == nil && pause(t.patience, v, n) {
			t.release(v)
			t.s.opt.Observer.Retried(Lost)
			continue
		}
		t.verdict, t.err = v, err
	}
	return nil, t.err
}

func (t *tx) try(statement string, arguments []any) (pairs []store.Pair, err error) {
	if t.conn == nil {
		if err := t.acquire(); err != nil {
			return nil, err
		}
	}
	err = within(t.conn.Conn(), statementLimit, func(ctx context.Context) (err error) {
		if t.begun {
			pairs, err = collect(t.conn.Query(ctx, statement, arguments...))
			return err
		}
		var batch pgx.Batch
		batch.Queue(t.begin)
		batch.Queue(statement, arguments...)
		answers := t.conn.SendBatch(ctx, &batch)
		_, begun := answers.Exec()
		pairs, err = collect(answers.Query())
		return errors.Join(begun, err, answers.Close())
	})
	if err != nil {
		return nil, err
	}
	t.begun = true
	return pairs, nil
}

// acquire gets a connection. It is the one wait that the caller's context ends.
func (t *tx) acquire() (err error) {
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
	return nil
}

// collect reads pairs out of an answer.
func collect(rows pgx.Rows, err error) ([]store.Pair, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var pairs []store.Pair
	for rows.Next() {
		var p store.Pair
		if err := rows.Scan(&p.Key, &p.Value); err != nil {
			return nil, err
		}
		pairs = append(pairs, p)
	}
	return pairs, rows.Err()
}

// commit writes and commits. Without writes it asks whether what was read was one state in the serial order.
func (t *tx) commit(writes []overlay.Entry) (verdict, error) {
	if !t.begun && len(writes) == 0 {
		return final, nil
	}
	if err := t.ctx.Err(); err != nil {
		return final, err
	}
	var batch pgx.Batch
	if !t.begun {
		if err := t.acquire(); err != nil {
			return judge(err, false)
		}
		batch.Queue(t.begin)
	}
	queueWrites(&batch, writes)
	batch.Queue(commit)
	clearWarning(t.conn)
	began := t.s.opt.Clock()
	var tag pgconn.CommandTag
	refused := false
	err := within(t.conn.Conn(), commitLimit, func(ctx context.Context) (err error) {
		tag, refused, err = last(t.conn.SendBatch(ctx, &batch), batch.Len())
		return err
	})
	if err != nil {
		return judge(err, len(writes) > 0 && !refused)
	}
	t.begun = false
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

// queueWrites adds the statements for writes, in the order of their keys, which keeps deadlocks rare.
func queueWrites(batch *pgx.Batch, writes []overlay.Entry) {
	var keys, values, gone [][]byte
	for _, e := range writes {
		if e.Deleted {
			gone = append(gone, e.Key)
			continue
		}
		keys, values = append(keys, e.Key), append(values, e.Value)
	}
	if len(keys) > 0 {
		batch.Queue(upsertRows, keys, values)
	}
	if len(gone) > 0 {
		batch.Queue(deleteRows, gone)
	}
}

// last reads the answers to n statements and returns that of the last. Once it is there, what happens to the connection
// afterwards does not matter. When the server itself answers an earlier one with an error, even with its last word (FATAL), it
// has refused the last one: answers come in order.
func last(answers pgx.BatchResults, n int) (tag pgconn.CommandTag, refused bool, err error) {
	defer func() { _ = answers.Close() }()
	for i := range n {
		if tag, err = answers.Exec(); err != nil {
			_, said := errors.AsType[*pgconn.PgError](err)
			return tag, said && i < n-1, err
		}
	}
	return tag, false, nil
}

// end rolls back what was not committed and gives the connection back.
func (t *tx) end() {
	if t.conn == nil {
		return
	}
	if status := t.conn.Conn().PgConn().TxStatus(); status != 'I' && t.verdict != lost && !t.conn.Conn().IsClosed() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), statementLimit)
		defer cancel()
		_, _ = t.conn.Conn().PgConn().Exec(ctx, rollback).ReadAll() // otherwise the pool drops the connection
	}
	t.release(t.verdict)
}

// release gives the connection back. The pool drops one that is broken or in a transaction; one that led to a server that is
// away or no primary any more is closed for that.
func (t *tx) release(v verdict) {
	if t.conn == nil {
		return
	}
	if v == lost {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), time.Second)
		defer cancel()
		_ = t.conn.Conn().Close(ctx)
	}
	t.conn.Release()
	t.s.opt.Observer.Connections(-1, 0)
	t.conn = nil
}
