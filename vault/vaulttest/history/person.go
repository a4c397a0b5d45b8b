package history

import (
	"fmt"
	"strings"

	"github.com/anishathalye/porcupine"

	"github.com/sandyq/sandyq/vault/fault"
)

// Kind is what a call asks for.
type Kind int

// The kinds. All but Tokenize go by what a tokenize has answered.
const (
	Tokenize Kind = iota
	Detokenize
	Rectify
	Block
	Unblock
	Erase
	permitted // what a detokenize that shows a value is besides, from the Update on that permits it
)

// Op is one call, about the person of an IIN.
type Op struct {
	Kind    Kind
	IIN     string
	Value   string // written, of the one field
	Keep    bool   // tokenize: on_conflict keep
	Subject string
	Token   string
}

// Answer is what came of a call. A code is a known outcome too: nothing was done.
type Answer struct {
	Code    fault.Code
	Subject string
	Token   string
	Value   string
	Differs bool
}

// person is whom an IIN means, and who it meant before. An id or a token that no answer has told yet is unknown.
type person struct {
	there   bool
	subject string // "" while unknown
	token   string // of the field; "" while unknown
	value   string
	blocked bool
	erased  string // ids, joined
}

func (s person) isErased(subject string) bool {
	return subject != "" && strings.Contains(s.erased, subject)
}

// step says whether the answer is one that this state allows, and what it becomes; a nil answer is an unknown outcome,
// which allows everything and does what it would have done.
func (s person) step(op Op, answer *Answer) (bool, person) {
	is := func(a Answer) bool { return answer == nil || *answer == a }
	if op.Kind == Tokenize {
		return s.tokenize(op, answer)
	}
	switch {
	case s.isErased(op.Subject):
		return is(Answer{Code: fault.Erased}), s
	case !s.there || s.subject != op.Subject:
		return answer == nil, s // an id that was never given out
	}
	next := s
	switch op.Kind {
	case Detokenize:
		if s.blocked {
			return is(Answer{Code: fault.Blocked}), s
		}
		return is(Answer{Value: s.value}), s
	case permitted:
		return !s.blocked, s
	case Rectify:
		next.value = op.Value
		return is(Answer{Token: s.token}), next
	case Block:
		next.blocked = true
		return is(Answer{}), next
	case Unblock:
		if !s.blocked {
			return is(Answer{Code: fault.Conflict}), s
		}
		next.blocked = false
		return is(Answer{}), next
	default: // Erase
		if s.blocked {
			return is(Answer{Code: fault.Blocked}), s
		}
		return is(Answer{}), person{erased: s.erased + s.subject + " "}
	}
}

func (s person) tokenize(op Op, answer *Answer) (bool, person) {
	refused := func(code fault.Code) (bool, person) { return answer == nil || answer.Code == code, s }
	next := s
	switch {
	case s.there && s.blocked:
		return refused(fault.Blocked)
	case !s.there:
		next.there, next.value = true, op.Value
	case s.value != op.Value && !op.Keep:
		return refused(fault.Conflict)
	}
	if answer == nil {
		return true, next
	}
	if next.subject == "" {
		next.subject, next.token = answer.Subject, answer.Token
	}
	return answer.Code == "" && answer.Subject == next.subject && answer.Token == next.token && answer.Token != "" &&
		!s.isErased(answer.Subject) && answer.Differs == (next.value != op.Value), next
}

var model = porcupine.Model{
	Partition: func(ops []porcupine.Operation) [][]porcupine.Operation {
		byIIN := map[string][]porcupine.Operation{}
		for _, op := range ops {
			n := op.Input.(Op).IIN
			byIIN[n] = append(byIIN[n], op)
		}
		var parts [][]porcupine.Operation
		for _, part := range byIIN {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return person{} },
	Step: func(state, input, output any) (bool, any) {
		answer, _ := output.(*Answer)
		ok, next := state.(person).step(input.(Op), answer)
		return ok, next
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v → %+v", input, output) },
}
