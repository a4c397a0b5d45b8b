package pgserver

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

// Standby makes a server that follows s under a name, for synchronous_standby_names, and discards it when t ends.
func (s *Server) Standby(t testing.TB, name string) *Server {
	t.Helper()
	standby := &Server{bin: s.bin, owner: s.owner}
	ctx, cancel := context.WithTimeout(lasting(t), startLimit)
	defer cancel()
	t.Cleanup(func() { standby.discard() })
	if err := standby.follow(ctx, s, name); err != nil {
		t.Fatalf("start a standby: %v", err)
	}
	standby.await(t, s.DSN("postgres"), "select 1 from pg_stat_replication where state = 'streaming' and application_name = '"+name+"'")
	return standby
}

func (s *Server) follow(ctx context.Context, primary *Server, name string) (err error) {
	if s.home, err = os.MkdirTemp("", "sandyq-pgserver-"); err != nil {
		return err
	}
	if s.owner != nil {
		if err := os.Chown(s.home, int(s.owner.Uid), int(s.owner.Gid)); err != nil {
			return err
		}
	}
	source := "host=127.0.0.1 port=" + strconv.Itoa(primary.Port) + " user=" + superuser + " application_name=" + name
	copying := s.command("pg_basebackup", "--pgdata", s.data(), "--dbname", source, "--write-recovery-conf", "--checkpoint", "fast", "--no-sync")
	if out, err := copying.CombinedOutput(); err != nil {
		return fmt.Errorf("copy the primary: %w\n%s", err, out)
	}
	// What pg_basebackup writes for the standby to connect by lacks the name.
	if err := s.configure([]string{"primary_conninfo = '" + source + "'"}); err != nil {
		return err
	}
	if err := os.Truncate(s.data()+"/postgresql.auto.conf", 0); err != nil {
		return err
	}
	return s.launchAnywhere(ctx)
}

// Promote makes a standby the primary and returns when it is.
func (s *Server) Promote(t testing.TB) {
	t.Helper()
	s.Exec(t, "select pg_promote(true, 30)")
}

// await returns once a query has a row.
func (s *Server) await(t testing.TB, dsn, query string) {
	t.Helper()
	for deadline := time.After(startLimit); ; {
		err := Exec(lasting(t), dsn, "do $$ begin if not exists ("+query+") then raise 'not yet'; end if; end $$")
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("the server did not get there: %v", err)
		case <-time.After(pollEvery):
		}
	}
}
