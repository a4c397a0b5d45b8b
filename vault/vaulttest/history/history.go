// Package history checks what clients of a vault were answered: whether there is one order of their calls, which keeps real time,
// in which a vault that served one call after another would have answered the same (linearizability, by porcupine).
//
// A history is about a few people, each meant by an IIN, with one field each. Clients draw calls from it, make them of a vault,
// however it is reached, and record what came of them. A call that failed with an unknown outcome may take effect at any later
// moment; a reading that failed has none.
package history

import (
	"cmp"
	"context"
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

	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/iin"
)

// History is what clients asked and were answered. It is safe for concurrent use.
type History struct {
	clock atomic.Int64 // orders the calls and answers
	mu    sync.Mutex
	ops   []porcupine.Operation
	known map[string]known
	wrong []error // answers that no history allows
}

// known is what the clients know of a person: the last that a tokenize answered.
type known struct{ subject, token string }

// New makes a history in which nothing was asked.
func New() *History { return &History{known: map[string]known{}} }

// Now is the next moment of the history's own clock.
func (h *History) Now() int64 { return h.clock.Add(1) }

// Calls counts what was recorded.
func (h *History) Calls() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.ops)
}

// mix is what clients draw their calls from.
var mix = []Kind{
	Tokenize, Tokenize, Tokenize, Detokenize, Detokenize, Detokenize, Detokenize, Rectify, Rectify,
	Block, Block, Unblock, Unblock, Erase,
}

// Draw makes up a call about the person of an IIN.
func (h *History) Draw(rnd *rand.Rand, number string) Op {
	op := Op{Kind: mix[rnd.IntN(len(mix))], IIN: number, Value: Name(), Keep: rnd.IntN(2) == 0}
	h.mu.Lock()
	defer h.mu.Unlock()
	k, ok := h.known[number]
	if !ok {
		op.Kind = Tokenize
	}
	op.Subject, op.Token = k.subject, k.token
	return op
}

// Record notes what came of a call that began at a moment. Of a detokenize that showed a value, allowed is when the Update began that
// permitted it, where that is known, otherwise 0.
func (h *History) Record(client int, op Op, began int64, answer *Answer, err error, allowed int64) {
	rec := porcupine.Operation{ClientId: client, Input: op, Call: began, Output: answer, Return: h.Now()}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err == nil && (op.Kind == Block || op.Kind == Unblock) && answer.Code == fault.Erased:
		rec.Output, rec.Return = (*Answer)(nil), math.MaxInt64 // it may have been made just before the erasure
	case err == nil:
	case !errors.Is(err, fault.Unavailable):
		h.wrong = append(h.wrong, fmt.Errorf("call %d: %w", op.Kind, err))
		return
	case op.Kind == Detokenize:
		return
	default:
		rec.Output, rec.Return = (*Answer)(nil), math.MaxInt64
	}
	h.ops = append(h.ops, rec)
	if op.Kind == Detokenize && answer != nil && answer.Code == "" && allowed > 0 {
		op.Kind = permitted
		h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: op, Output: answer, Call: allowed, Return: rec.Return})
	}
	if err == nil && op.Kind == Tokenize && answer.Code == "" {
		h.known[op.IIN] = known{answer.Subject, answer.Token}
	}
}

// checkTime bounds the checking of one history, which takes milliseconds unless unknown outcomes multiply.
const checkTime = 15 * time.Second

// ErrUndecided tells that a history could not be checked in time.
var ErrUndecided = errors.New("a history could not be checked in time")

// Check is nil when the answers are those of one vault, or ErrUndecided.
func (h *History) Check() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.wrong != nil {
		return errors.Join(h.wrong...)
	}
	switch porcupine.CheckOperationsTimeout(model, h.ops, checkTime) {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		return ErrUndecided
	}
	return fmt.Errorf("%d calls have no serial order that keeps real time; those about one person:\n%s", len(h.ops), h.culprit())
}

// culprit writes out the shortest history of one person that has no order, in the order of the calls.
func (h *History) culprit() string {
	var worst []porcupine.Operation
	for _, ops := range model.Partition(h.ops) {
		if (worst == nil || len(ops) < len(worst)) && porcupine.CheckOperationsTimeout(model, ops, checkTime) == porcupine.Illegal {
			worst = ops
		}
	}
	slices.SortFunc(worst, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	var b strings.Builder
	for _, op := range worst {
		ended := strconv.FormatInt(op.Return, 10)
		if op.Return == math.MaxInt64 {
			ended = "?"
		}
		fmt.Fprintf(&b, "%d–%s client %d: %s\n", op.Call, ended, op.ClientId, model.DescribeOperation(op.Input, op.Output))
	}
	return b.String()
}

// Vault is what calls are made of: a service as one caller, or a client of a server.
type Vault interface {
	Tokenize(context.Context, *api.TokenizeRequest) (*api.TokenizeResponse, error)
	Detokenize(context.Context, *api.DetokenizeRequest) (*api.DetokenizeResponse, error)
	Rectify(ctx context.Context, subject string, in *api.RectifyRequest) (*api.RectifyResponse, error)
	Block(ctx context.Context, subject string, in *api.BlockRequest) (*api.Subject, error)
	Unblock(ctx context.Context, subject string, in *api.BlockRequest) (*api.Subject, error)
	RequestErasure(context.Context, *api.ErasureRequest) (*api.Erasure, error)
}

// Do makes a call. An error is an unknown outcome (fault.Unavailable), or one that must not be.
func Do(ctx context.Context, v Vault, op Op) (*Answer, error) {
	answer := &Answer{}
	block := &api.BlockRequest{Kind: "dispute", Reason: "claim"}
	var err error
	switch op.Kind {
	case Tokenize:
		return tokenize(ctx, v, op)
	case Detokenize:
		return detokenize(ctx, v, op)
	case Rectify:
		var r *api.RectifyResponse
		r, err = v.Rectify(ctx, op.Subject, &api.RectifyRequest{
			Purpose: "registration", Evidence: api.Evidence{Kind: "application", Ref: "A-17"}, Fields: fields{"given_name": text(op.Value)},
		})
		if err == nil {
			answer.Token = r.Tokens["given_name"].Items[0]
		}
	case Block:
		_, err = v.Block(ctx, op.Subject, block)
	case Unblock:
		_, err = v.Unblock(ctx, op.Subject, block)
	case Erase:
		_, err = v.RequestErasure(ctx, &api.ErasureRequest{Subject: op.Subject, Ground: "request", Reason: "asked"})
	}
	if e := fault.From(err); e != nil && e.Code == fault.Conflict && e.RetryAfter > 0 {
		return nil, fault.Wrap(fault.Unavailable, err, "another try of this call is under way") // it is no refusal
	}
	for _, code := range []fault.Code{fault.Blocked, fault.Erased, fault.Conflict, fault.NotFound} {
		if errors.Is(err, code) {
			return &Answer{Code: code}, nil
		}
	}
	return answer, err
}

type fields = map[string]api.OneOrMany[api.Value]

func text(s string) api.OneOrMany[api.Value] { return api.One(api.Text(s)) }

func tokenize(ctx context.Context, v Vault, op Op) (*Answer, error) {
	item := api.TokenizeItem{Fields: fields{"iin": text(op.IIN), "given_name": text(op.Value)}}
	if op.Keep {
		item.OnConflict = api.ConflictKeep
	}
	resp, err := v.Tokenize(ctx, &api.TokenizeRequest{Purpose: "registration", Items: []api.TokenizeItem{item}})
	if err != nil {
		return nil, err
	}
	r := resp.Results[0]
	if r.Error != nil {
		return itemAnswer(r.Error)
	}
	return &Answer{Subject: r.Subject, Token: r.Tokens["given_name"].Items[0], Differs: len(r.Differs) > 0}, nil
}

func detokenize(ctx context.Context, v Vault, op Op) (*Answer, error) {
	resp, err := v.Detokenize(ctx, &api.DetokenizeRequest{
		Purpose: "service", Reason: "support_call", Tokens: []string{op.Token},
	})
	if err != nil {
		return nil, err
	}
	r := resp.Results[0]
	if r.Error != nil {
		return itemAnswer(r.Error)
	}
	value, _ := r.Value.Text()
	return &Answer{Value: value}, nil
}

func itemAnswer(e *api.ItemError) (*Answer, error) {
	if e.Code == fault.Unavailable || e.Code == fault.Internal {
		return nil, e.Err()
	}
	return &Answer{Code: e.Code}, nil
}

var names, iinSerial atomic.Int64

// Name is a given name that nobody had before in this process.
func Name() string {
	name := []rune("Айгүл ")
	for n := names.Add(1); n > 0; n /= 30 {
		name = append(name, 'а'+rune(n%30))
	}
	return string(name)
}

// IIN is that of somebody born on 12 March 1985 (or the days after) whom nobody asked for before in this process.
func IIN() string {
	for {
		n := iinSerial.Add(1)
		first := fmt.Sprintf("8503%02d3%04d", 1+n/10_000%28, n%10_000)
		if digit, ok := iin.CheckDigit(first); ok {
			return first + string(digit)
		}
	}
}
