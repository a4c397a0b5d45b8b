package pgserver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A transaction as applications have them: a read by key and an insert of 300 bytes, one statement a round trip.
const benchScript = `\set n random(1, 1000000000)
begin;
select value from bench where key = int8send(:n);
insert into bench values (int8send(:n), decode(repeat('00', 300), 'hex')) on conflict do nothing;
commit;
`

// Pgbench has PostgreSQL's own client make at least so many such transactions, READ COMMITTED, in a new database of s, and returns how
// many it made, how many a second, and what they took of the processors, its own part included.
func (s *Server) Pgbench(b *testing.B, clients, transactions int) (made int, rate float64, processor time.Duration) {
	b.Helper()
	dsn := s.Database(b)
	if err := Exec(b.Context(), dsn, "create table bench (key bytea primary key, value bytea not null)"); err != nil {
		b.Fatal(err)
	}
	file := filepath.Join(b.TempDir(), "script")
	if err := os.WriteFile(file, []byte(benchScript), 0o600); err != nil {
		b.Fatal(err)
	}
	each := transactions/clients + 1
	used := s.Processor(b)
	pgbench := exec.Command(filepath.Join(s.bin, "pgbench"), "-n", "-M", "prepared", "-f", file, "-c", strconv.Itoa(clients), "-j", "2", //nolint:gosec // the developer names the folder
		"-t", strconv.Itoa(each), dsn)
	out, err := pgbench.CombinedOutput()
	if err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	_, rest, _ := strings.Cut(string(out), "tps = ")
	if rate, err = strconv.ParseFloat(strings.Fields(rest + " none")[0], 64); err != nil {
		b.Fatalf("pgbench says no rate:\n%s", out)
	}
	own := pgbench.ProcessState
	return each * clients, rate, s.Processor(b) - used + own.UserTime() + own.SystemTime()
}

// Processor is the processor time that the server has used.
func (s *Server) Processor(t testing.TB) (used time.Duration) {
	t.Helper()
	for _, pid := range append(s.process.children(), s.process.cmd.Process.Pid) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // it has ended, and its parent counts it
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		for _, field := range fields[11:15] { // utime and stime, of the process and of children it waited for, in hundredths of a second
			ticks, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			used += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return used
}
