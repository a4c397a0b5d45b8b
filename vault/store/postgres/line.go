package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sandyq/sandyq/vault/store"
)

// statement is one that every connection prepares before its first transaction, under a name.
type statement struct{ name, text string }

// The statements. They are kept to what CockroachDB and YugabyteDB accept, too.
var (
	begin    = statement{"sandyq_begin", "begin isolation level serializable"}
	commit   = statement{"sandyq_commit", "commit"}
	rollback = statement{"sandyq_rollback", "rollback"}

	selectOne   = statement{"sandyq_one", "select key, value from sandyq_rows where key = $1"}
	selectMany  = statement{"sandyq_many", "select key, value from sandyq_rows where key = any($1)"}
	selectFrom  = statement{"sandyq_from", "select key, value from sandyq_rows where key >= $1 order by key limit $2"}
	selectRange = statement{"sandyq_range", "select key, value from sandyq_rows where key >= $1 and key < $2 order by key limit $3"}

	upsertRows = statement{"sandyq_upsert", "insert into sandyq_rows (key, value) select * from unnest($1::bytea[], $2::bytea[])" +
		" on conflict (key) do update set value = excluded.value"}
	deleteRows = statement{"sandyq_delete", "delete from sandyq_rows where key = any($1)"}

	statements = []statement{begin, commit, rollback, selectOne, selectMany, selectFrom, selectRange, upsertRows, deleteRows}
)

// query is a statement and its arguments, in PostgreSQL's binary form.
type query struct {
	statement statement
	arguments [][]byte
}

// prepared is where a connection keeps what it has prepared, by name.
const prepared = "prepared"

// described are a connection's prepared statements.
func described(ctx context.Context, c *pgconn.PgConn) (map[string]*pgconn.StatementDescription, error) {
	if all, ok := c.CustomData()[prepared].(map[string]*pgconn.StatementDescription); ok {
		return all, nil
	}
	all := make(map[string]*pgconn.StatementDescription, len(statements))
	for _, s := range statements {
		described, err := c.Prepare(ctx, s.name, s.text, nil)
		if err != nil {
			return nil, fmt.Errorf("preparing a statement: %w", err)
		}
		all[s.name] = described
	}
	c.CustomData()[prepared] = all
	return all, nil
}

// line is a connection during one transaction. Statements go out together and are not followed by Sync until the end: a transaction of
// reads alone needs neither BEGIN nor COMMIT, because PostgreSQL takes what comes before a Sync for one.
type line struct {
	conn       *pgxpool.Conn
	statements map[string]*pgconn.StatementDescription
	pipeline   *pgconn.Pipeline
	ctx        context.Context // ends what hangs
	hangUp     context.CancelFunc
	unwatch    func() bool
	synced     bool // the Sync at the end was sent
}

// newLine begins a transaction on a connection. Its statements are cut off when its primary is known to have a successor.
func newLine(conn *pgxpool.Conn) (*line, error) {
	l := &line{conn: conn}
	l.ctx, l.hangUp = context.WithCancel(context.Background())
	l.unwatch = context.AfterFunc(termOf(conn.Conn()), l.hangUp)
	defer l.limit(statementLimit)()
	var err error
	if l.statements, err = described(l.ctx, conn.Conn().PgConn()); err != nil {
		l.unwatch()
		l.hangUp()
		return nil, l.said(err)
	}
	l.pipeline = conn.Conn().PgConn().StartPipeline(l.ctx)
	return l, nil
}

// limit hangs up after d, unless the function that it returns is called before.
func (l *line) limit(d time.Duration) (done func()) {
	timer := time.AfterFunc(d, l.hangUp)
	return func() { timer.Stop() }
}

var errHungUp = errors.New("postgres: the server took too long, or another has taken over")

// said is an error without the context that hung up, which is none of the caller's.
func (l *line) said(err error) error {
	if _, server := errors.AsType[*pgconn.PgError](err); err != nil && !server && l.ctx.Err() != nil {
		return fmt.Errorf("%w: %s", errHungUp, err)
	}
	return err
}

// The forms of arguments and results: all are binary.
var binaryForm = []int16{1}

// send puts queries on the way; with the last of a transaction goes the Sync that ends it.
func (l *line) send(queries []query, last bool) error {
	for _, q := range queries {
		l.pipeline.SendQueryStatement(l.statements[q.statement.name], q.arguments, binaryForm, binaryForm)
	}
	if last {
		l.pipeline.SendPipelineSync()
		l.synced = true
	} else {
		l.pipeline.SendFlushRequest()
	}
	return l.pipeline.Flush()
}

// answer reads the answer to the next query that was sent.
func (l *line) answer() (pairs []store.Pair, tag pgconn.CommandTag, err error) {
	result, err := l.pipeline.GetResults()
	if err != nil {
		return nil, tag, err
	}
	rows, ok := result.(*pgconn.ResultReader)
	if !ok {
		return nil, tag, fmt.Errorf("postgres: the server answers with %T", result)
	}
	for rows.NextRow() {
		pairs = append(pairs, pairOf(rows.Values()))
	}
	tag, err = rows.Close()
	return pairs, tag, err
}

// pairOf copies a row, which is the connection's.
func pairOf(row [][]byte) store.Pair {
	both := make([]byte, 0, len(row[0])+len(row[1]))
	both = append(append(both, row[0]...), row[1]...)
	n := len(row[0])
	return store.Pair{Key: both[:n:n], Value: both[n:]}
}

// ask sends queries and reads what each of them selects.
func (l *line) ask(queries []query) ([][]store.Pair, error) {
	defer l.limit(statementLimit)()
	if err := l.send(queries, false); err != nil {
		return nil, l.said(err)
	}
	answers := make([][]store.Pair, len(queries))
	for i := range queries {
		var err error
		if answers[i], _, err = l.answer(); err != nil {
			return nil, l.said(err)
		}
	}
	return answers, nil
}

// finish sends the last queries of the transaction and reads how the very last went. Once that is there, what happens to the connection
// afterwards does not matter. When the server itself answers an earlier one with an error, even with its last word (FATAL), it has
// refused the last one: answers come in order.
func (l *line) finish(queries []query) (tag pgconn.CommandTag, refused bool, err error) {
	defer l.limit(commitLimit)()
	if err := l.send(queries, true); err != nil {
		return tag, false, l.said(err)
	}
	for i := range queries {
		if _, tag, err = l.answer(); err != nil {
			_, said := errors.AsType[*pgconn.PgError](err)
			return tag, said && i < len(queries)-1, l.said(err)
		}
	}
	return tag, false, nil
}

// close ends the transaction, by rolling it back if it is not over. The connection is fit for another afterwards, or closed.
func (l *line) close() {
	defer l.hangUp()
	defer l.limit(statementLimit)()
	conn := l.conn.Conn()
	if !l.synced && !conn.IsClosed() { // one that is closed may still be saying goodbye
		_ = l.send(nil, true) // if it cannot be told, the connection is closed below
	}
	_ = l.pipeline.Close() // what it failed with was answered before
	l.unwatch()
	if conn.PgConn().TxStatus() != 'I' && !conn.IsClosed() {
		_ = conn.PgConn().ExecPrepared(l.ctx, rollback.name, nil, nil, nil).Read().Err // otherwise the pool drops the connection
	}
}

// bigint is a number as an argument.
func bigint(n int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

// byteas is an array as an argument.
func byteas(all [][]byte) []byte {
	const oid = 17 // of bytea
	size := 20
	for _, one := range all {
		size += 4 + len(one)
	}
	b := make([]byte, 0, size)
	for _, n := range []int{1, 0, oid, len(all), 1} { // dimensions, no nulls, the type, how many, counted from 1
		b = binary.BigEndian.AppendUint32(b, uint32(n))
	}
	for _, one := range all {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(one))), one...)
	}
	return b
}
