// Package sample holds data to try the vault with: a thousand synthetic people, and scans of specimen documents made out to four more.
//
// All of it is invented by the program in generate; nobody's data is in it. Names are common ones put together at random. Numbers are well formed, so
// that checks accept them, and a valid IIN may by chance be somebody's: it was drawn, not taken. Telephone numbers lie in the block 000 of their
// network code, and e-mail addresses at domains reserved for examples (RFC 2606, RFC 6761). Cities are real, streets are not. The documents show no
// real form, emblem or face, and each is marked SPECIMEN · ҮЛГІ · ОБРАЗЕЦ across.
package sample

import (
	"bytes"
	"embed"
	"fmt"
	"path"
	"strings"

	"github.com/sandyq/sandyq/deploy/sample/person"
)

//go:generate go run ./generate

//go:embed people.csv
var people []byte

//go:embed holders.csv
var holders []byte

//go:embed specimens
var specimens embed.FS

// Person is one synthetic person.
type Person = person.Person

// PeopleCSV returns people.csv as it is, for what reads files. The header is described in package person.
func PeopleCSV() []byte { return bytes.Clone(people) }

// People returns the thousand people of people.csv. External references and IINs are unique.
func People() ([]Person, error) { return person.ReadCSV(bytes.NewReader(people)) }

// Holders returns the four people of holders.csv, to whom the specimens are made out. None of them is among People.
func Holders() ([]Person, error) { return person.ReadCSV(bytes.NewReader(holders)) }

// Specimen is a file with a scan of a document, or of a side or page of one. Kind and Side are those of the API's upload call.
type Specimen struct {
	Name      string // of the file; it tells the holder's number, the kind and the side, and nothing of the person
	Holder    string // external reference of the holder: specimen/1 …
	Kind      string // identity_card, passport, residence_permit, foreign_passport, consent_form, other
	Side      string // front, back, page
	MediaType string // image/jpeg, image/png, application/pdf
	Bytes     []byte // the caller's own
}

// Specimens returns the scans, ordered by name.
func Specimens() ([]Specimen, error) {
	const folder = "specimens"
	entries, err := specimens.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("list the specimens: %w", err)
	}
	list := make([]Specimen, len(entries))
	for i, entry := range entries {
		specimen, err := described(entry.Name())
		if err != nil {
			return nil, err
		}
		specimen.Bytes, err = specimens.ReadFile(path.Join(folder, entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("read a specimen: %w", err)
		}
		list[i] = specimen
	}
	return list, nil
}

// mediaTypes by extension; package mime would ask the machine's own table.
var mediaTypes = map[string]string{"jpg": "image/jpeg", "png": "image/png", "pdf": "application/pdf"}

// described takes a name apart: holder-1.identity_card.front.jpg.
func described(name string) (Specimen, error) {
	parts := strings.Split(name, ".")
	if len(parts) != 4 {
		return Specimen{}, fmt.Errorf("specimen %q: the name is not holder.kind.side.extension", name)
	}
	number, ok := strings.CutPrefix(parts[0], "holder-")
	if !ok {
		return Specimen{}, fmt.Errorf("specimen %q: the name does not begin with a holder", name)
	}
	mediaType, ok := mediaTypes[parts[3]]
	if !ok {
		return Specimen{}, fmt.Errorf("specimen %q: no media type for the extension", name)
	}
	return Specimen{Name: name, Holder: "specimen/" + number, Kind: parts[1], Side: parts[2], MediaType: mediaType}, nil
}
