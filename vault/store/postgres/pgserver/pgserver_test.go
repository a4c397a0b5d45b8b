package pgserver

import (
	"errors"
	"os"
	"testing"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

// TestSurvives takes a server through every way down, and finds what was committed.
func TestSurvives(t *testing.T) {
	s := Start(t)
	dsn := s.Database(t)
	run := func(statement string) {
		t.Helper()
		if err := Exec(t.Context(), dsn, statement); err != nil {
			t.Fatal(err)
		}
	}
	run("create table kept (n int primary key)")
	run("insert into kept values (1)")
	s.Kill(t)
	if err := Exec(t.Context(), dsn, "select 1"); err == nil {
		t.Error("a killed server answers")
	}
	s.Restart(t)
	run("insert into kept values (2)")
	s.Restart(t)
	run("do $$ begin if (select sum(n) from kept) <> 3 then raise 'lost'; end if; end $$")
	home := s.home
	s.discard()
	if _, err := os.Stat(home); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the server's folder is left: %v", err)
	}
}

func TestConfigure(t *testing.T) {
	s := Start(t, "work_mem = 123kB")
	s.Exec(t, "do $$ begin if current_setting('work_mem') <> '123kB' then raise 'not set'; end if; end $$")
	s.Configure(t, "work_mem = 321kB")
}

func TestMissing(t *testing.T) {
	t.Setenv(BinaryVariable, t.TempDir())
	if _, err := Find(); !errors.Is(err, ErrNotFound) {
		t.Errorf("an empty folder: %v", err)
	}
}
