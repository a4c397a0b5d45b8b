package person

import (
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strings"
)

// separator stands between the values of a field that may have many.
const separator = ";"

// column ties a name in the header to its place in a Person.
type column struct {
	name string
	get  func(*Person) string
	set  func(*Person, string)
}

var columns = slices.Concat(
	[]column{
		text("external_ref", func(p *Person) *string { return &p.ExternalRef }),
		text("iin", func(p *Person) *string { return &p.IIN }),
		text("family_name", func(p *Person) *string { return &p.FamilyName }),
		text("given_name", func(p *Person) *string { return &p.GivenName }),
		text("patronymic", func(p *Person) *string { return &p.Patronymic }),
		text("residency_country", func(p *Person) *string { return &p.ResidencyCountry }),
		text("postal_index", func(p *Person) *string { return &p.PostalIndex }),
	},
	address("residence", func(p *Person) *Address { return &p.Residence }),
	address("registration", func(p *Person) *Address { return &p.Registration }),
	[]column{text("registration_date", func(p *Person) *string { return &p.RegistrationDate })},
	address("stay", func(p *Person) *Address { return &p.Stay }),
	[]column{
		text("stay_registration_date", func(p *Person) *string { return &p.StayRegistrationDate }),
		list("phone", func(p *Person) *[]string { return &p.Phones }),
		list("email", func(p *Person) *[]string { return &p.Emails }),
		text("postal_address", func(p *Person) *string { return &p.PostalAddress }),
		text("document_number", func(p *Person) *string { return &p.DocumentNumber }),
	},
)

func text(name string, of func(*Person) *string) column {
	return column{name, func(p *Person) string { return *of(p) }, func(p *Person, cell string) { *of(p) = cell }}
}

func list(name string, of func(*Person) *[]string) column {
	return column{
		name,
		func(p *Person) string { return strings.Join(*of(p), separator) },
		func(p *Person, cell string) {
			if cell != "" {
				*of(p) = strings.Split(cell, separator)
			}
		},
	}
}

func address(name string, of func(*Person) *Address) []column {
	return []column{
		text(name+"_country", func(p *Person) *string { return &of(p).Country }),
		text(name+"_region", func(p *Person) *string { return &of(p).Region }),
		text(name+"_city", func(p *Person) *string { return &of(p).City }),
		text(name+"_line", func(p *Person) *string { return &of(p).Line }),
		text(name+"_kato", func(p *Person) *string { return &of(p).KATO }),
	}
}

// Header returns the names of the columns in their order.
func Header() []string {
	names := make([]string, len(columns))
	for i, column := range columns {
		names[i] = column.name
	}
	return names
}

// Writer writes people as they come. Nothing is sure to be written before Flush.
type Writer struct {
	rows  *csv.Writer
	lines int
}

// NewWriter returns a writer that has written the header.
func NewWriter(w io.Writer) (*Writer, error) {
	rows := csv.NewWriter(w)
	if err := rows.Write(Header()); err != nil {
		return nil, fmt.Errorf("write the header: %w", err)
	}
	return &Writer{rows: rows}, nil
}

// Write writes the line of a person.
func (w *Writer) Write(p Person) error {
	row := make([]string, len(columns))
	for i, column := range columns {
		row[i] = column.get(&p)
	}
	w.lines++
	if err := w.rows.Write(row); err != nil {
		return fmt.Errorf("write person %d: %w", w.lines, err)
	}
	return nil
}

// Flush writes what is buffered.
func (w *Writer) Flush() error {
	w.rows.Flush()
	if err := w.rows.Error(); err != nil {
		return fmt.Errorf("write people: %w", err)
	}
	return nil
}

// WriteCSV writes the header and a line for each person.
func WriteCSV(w io.Writer, people []Person) error {
	rows, err := NewWriter(w)
	if err != nil {
		return err
	}
	for _, p := range people {
		if err := rows.Write(p); err != nil {
			return err
		}
	}
	return rows.Flush()
}

// ReadCSV reads what WriteCSV writes; it wants the columns exactly so.
func ReadCSV(r io.Reader) ([]Person, error) {
	rows, err := csv.NewReader(r).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("read people: %w", err)
	}
	if len(rows) == 0 || !slices.Equal(rows[0], Header()) {
		return nil, fmt.Errorf("read people: the header is not the one of this format")
	}
	people := make([]Person, len(rows)-1)
	for i, row := range rows[1:] {
		for j, column := range columns {
			column.set(&people[i], row[j])
		}
	}
	return people, nil
}
