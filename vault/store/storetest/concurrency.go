package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/sandyq/sandyq/vault/store"
)

func viewIsSnapshot(s store.Store, _ uint64) error {
	if err := put(s, "a", "1", "b", "1"); err != nil {
		return err
	}
	return s.View(background, func(r store.Reader) error {
		if err := wantValue(r, "a", []byte("1")); err != nil {
			return err
		}
		for i := range 20 {
			err := s.Update(background, func(w store.Writer) error {
				return errors.Join(putIn(w, "b", strconv.Itoa(i), "c", "new"), w.Delete([]byte("a")))
			})
			if err != nil {
				return err
			}
			if err := wantScan(r, "", nil, 9, "a", "1", "b", "1"); err != nil {
				return fmt.Errorf("a View changed under its reader: %w", err)
			}
		}
		return nil
	})
}

func viewSeesAcknowledged(s store.Store, _ uint64) error {
	return concurrently(8, func(c int) error {
		key := strconv.Itoa(c)
		for i := range 50 {
			value := strconv.Itoa(i)
			if err := put(s, key, value); err != nil {
				return err
			}
			if err := wantStored(s, key, []byte(value)); err != nil {
				return fmt.Errorf("a View after the Update's answer: %w", err)
			}
		}
		return nil
	})
}

// counter has clients add to one number: with lost updates it falls short.
func counter(s store.Store, _ uint64) error {
	const clients, rounds = 8, 50
	err := concurrently(clients, func(int) error {
		for range rounds {
			err := s.Update(background, func(w store.Writer) error {
				n, err := number(w, "n")
				return errors.Join(err, putIn(w, "n", strconv.Itoa(n+1)))
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, wantStored(s, "n", []byte(strconv.Itoa(clients*rounds))))
}

// number reads a number; 0 when absent.
func number(r store.Reader, key string) (int, error) {
	value, err := one(r, key)
	if value == nil || err != nil {
		return 0, err
	}
	return strconv.Atoi(string(value))
}

// transfers moves amounts between accounts while others count: no View and no Update ever sees another sum.
func transfers(s store.Store, seed uint64) error {
	const accounts, each = 5, 100
	name := func(i int) string { return fmt.Sprintf("account/%d", i) }
	for i := range accounts {
		if err := put(s, name(i), strconv.Itoa(each)); err != nil {
			return err
		}
	}
	sum := func(r store.Reader) error {
		pairs, err := r.Scan([]byte("account/"), nil, accounts+1)
		total := 0
		for _, p := range pairs {
			n, _ := strconv.Atoi(string(p.Value))
			total += n
		}
		if err == nil && total != accounts*each {
			err = fmt.Errorf("the accounts hold %d, not %d", total, accounts*each)
		}
		return err
	}
	return concurrently(8, func(c int) error {
		rnd := rand.New(rand.NewPCG(seed, uint64(c)))
		for range 60 {
			from, to, amount := rnd.IntN(accounts), rnd.IntN(accounts), rnd.IntN(20)
			err := s.Update(background, func(w store.Writer) error {
				a, err := number(w, name(from))
				if err != nil || from == to {
					return err
				}
				if a < amount {
					return w.Delete([]byte("refused")) // an Update that changes nothing
				}
				b, err := number(w, name(to))
				return errors.Join(err, putIn(w, name(from), strconv.Itoa(a-amount), name(to), strconv.Itoa(b+amount)), sum(w))
			})
			if err := errors.Join(err, s.View(background, sum)); err != nil {
				return err
			}
		}
		return nil
	})
}
