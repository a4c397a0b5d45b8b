package storetest

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/sandyq/sandyq/vault/store"
)

// history collects what concurrent clients asked and got. Its clock is a counter, which orders events as well as time
// does. An operation whose outcome is unknown may take effect at any later moment, or at the very end, where it makes
// no difference to anybody: so it returns at the end of time, and the model accepts any output of it.
type history struct {
	clock atomic.Int64
	mu    sync.Mutex
	ops   []porcupine.Operation
}

// faults of the clients below. Each unknown outcome doubles the checker's work, so they are few.
var chances = Chances{Before: 0.02, After: 0.04, Rerun: 0.2}

// record runs do and adds it, unless it certainly did nothing.
func (h *history) record(client int, input any, do func() (output any, err error)) error {
	op := porcupine.Operation{ClientId: client, Input: input, Call: h.clock.Add(1)}
	output, err := do()
	op.Output, op.Return = output, h.clock.Add(1)
	if errors.Is(err, ErrInjected) {
		op.Output, op.Return = nil, math.MaxInt64
	} else if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, op)
	return nil
}

func (h *history) check(model porcupine.Model) error {
	switch porcupine.CheckOperationsTimeout(model, h.ops, time.Minute) {
	case porcupine.Ok:
		return nil
	case porcupine.Illegal:
		return fmt.Errorf("a history of %d operations has no serial order that keeps real time", len(h.ops))
	default:
		return fmt.Errorf("a history of %d operations could not be checked in a minute", len(h.ops))
	}
}

// A registerOp reads, writes, or swaps old for new, on one key.
type registerOp struct {
	key      string
	kind     int
	old, new string
}

const (
	registerRead = iota
	registerWrite
	registerSwap
)

var registerModel = porcupine.Model{
	Partition: func(ops []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, op := range ops {
			key := op.Input.(registerOp).key
			byKey[key] = append(byKey[key], op)
		}
		var parts [][]porcupine.Operation
		for _, part := range byKey {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		op := input.(registerOp)
		switch op.kind {
		case registerRead:
			return output == nil || output == state, state
		case registerWrite:
			return true, op.new
		default:
			swapped := op.old == state
			if swapped {
				state = op.new
			}
			return output == nil || output == swapped, state
		}
	},
}

// registers has clients read (half of them in Updates), write and swap a few keys.
func registers(s store.Store, seed uint64) error {
	faulty := NewFaulty(s, Random(seed, chances))
	var h history
	err := concurrently(8, func(client int) error {
		rnd := rand.New(rand.NewPCG(seed, uint64(client)))
		for range 100 {
			op := registerOp{
				key: "r" + strconv.Itoa(rnd.IntN(4)), kind: rnd.IntN(3),
				old: strconv.Itoa(rnd.IntN(4)), new: strconv.Itoa(rnd.IntN(4)),
			}
			inView := rnd.IntN(2) == 0
			if err := h.record(client, op, func() (any, error) { return op.do(faulty, inView) }); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, h.check(registerModel))
}

func (op registerOp) do(s store.Store, inView bool) (output any, err error) {
	read := func(r store.Reader) error {
		value, err := one(r, op.key)
		output = string(value)
		return err
	}
	switch {
	case op.kind == registerRead && inView:
		err = s.View(background, read)
		return output, err
	case op.kind == registerRead:
		err = s.Update(background, func(w store.Writer) error { return read(w) })
		return output, err
	case op.kind == registerWrite:
		return nil, put(s, op.key, op.new)
	}
	err = s.Update(background, func(w store.Writer) error {
		value, err := one(w, op.key)
		output = string(value) == op.old
		if err != nil || output == false {
			return err
		}
		return putIn(w, op.key, op.new)
	})
	return output, err
}

// A listOp reads all lists, and unless it is a View appends item to some of them.
type listOp struct {
	item string
	to   []int // lists; none: a View
}

const listCount = 3

func listName(i int) string { return "list/" + strconv.Itoa(i) }

var listModel = porcupine.Model{
	Init: func() any { return [listCount]string{} },
	Step: func(state, input, output any) (bool, any) {
		before, op := state.([listCount]string), input.(listOp)
		after := before
		for _, i := range op.to {
			after[i] += op.item
		}
		return output == nil || output == before, after
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprint(input, output) },
}

// lists has clients append to several lists at once, each telling what it found there: that fixes the order of
// everything, over all keys.
func lists(s store.Store, seed uint64) error {
	faulty := NewFaulty(s, Random(seed, chances))
	for round := range uint64(5) {
		var h history
		err := concurrently(6, func(client int) error {
			rnd := rand.New(rand.NewPCG(seed+round, uint64(client)))
			for n := range 25 {
				op := listOp{item: fmt.Sprintf("%d.%d ", client, n), to: rnd.Perm(listCount)[:rnd.IntN(listCount)]}
				if err := h.record(client, op, func() (any, error) { return op.do(faulty) }); err != nil {
					return err
				}
			}
			return nil
		})
		last := listOp{}
		err = errors.Join(err, h.record(0, last, func() (any, error) { return last.do(s) }))
		h.settle()
		if err := errors.Join(err, h.check(listModel), emptyLists(s)); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
	}
	return nil
}

func (op listOp) do(s store.Store) (output any, err error) {
	var found [listCount]string
	read := func(r store.Reader) error {
		pairs, err := r.Scan([]byte("list/"), nil, listCount)
		found = [listCount]string{}
		for _, p := range pairs {
			i, _ := strconv.Atoi(strings.TrimPrefix(string(p.Key), "list/"))
			found[i] = string(p.Value)
		}
		return err
	}
	if len(op.to) == 0 {
		err = s.View(background, read)
		return found, err
	}
	err = s.Update(background, func(w store.Writer) error {
		if err := read(w); err != nil {
			return err
		}
		for _, i := range op.to {
			if err := putIn(w, listName(i), found[i]+op.item); err != nil {
				return err
			}
		}
		return nil
	})
	return found, err
}

// settle uses that every item is one of its kind, and that the last operation reads everything: an unknown append that
// nobody saw had no effect, and one that somebody saw took effect before that one's return. Without this the checker
// would try every order of the unknown ones at every step.
func (h *history) settle() {
	h.ops = slices.DeleteFunc(h.ops, func(op porcupine.Operation) bool {
		return op.Output == nil && h.seen(op) == math.MaxInt64
	})
	for i, op := range h.ops {
		if op.Output == nil {
			h.ops[i].Return = h.seen(op)
		}
	}
}

// seen returns when the first operation returned that saw what op appended.
func (h *history) seen(op porcupine.Operation) int64 {
	first := int64(math.MaxInt64)
	for _, other := range h.ops {
		found, _ := other.Output.([listCount]string)
		for _, list := range found {
			if strings.Contains(" "+list, " "+op.Input.(listOp).item) {
				first = min(first, other.Return)
			}
		}
	}
	return first
}

func emptyLists(s store.Store) error {
	return s.Update(background, func(w store.Writer) error {
		for i := range listCount {
			if err := w.Delete([]byte(listName(i))); err != nil {
				return err
			}
		}
		return nil
	})
}
