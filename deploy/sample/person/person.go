// Package person is the record of the sample data, and its form as CSV.
//
// The file is UTF-8 with one header line. Columns are named after the built-in fields of the vault; an address takes five of them, its name's
// first word and a part: residence_city is the city of residence_address. Fields that may have many values hold them with a semicolon
// between. An empty cell is a field the person does not have.
package person

// Person is one synthetic person. All text is as a form would bring it in: nothing is normalised.
type Person struct {
	ExternalRef          string // unique among the people of a file
	IIN                  string // valid and unique; belongs to nobody known to the authors
	FamilyName           string
	GivenName            string
	Patronymic           string // empty when the document has none
	ResidencyCountry     string // ISO 3166-1 alpha-2
	PostalIndex          string // six digits, or the seven characters of the new form
	Residence            Address
	Registration         Address
	RegistrationDate     string  // YYYY-MM-DD
	Stay                 Address // zero for most
	StayRegistrationDate string  // YYYY-MM-DD
	Phones               []string
	Emails               []string
	PostalAddress        string // text
	DocumentNumber       string
}

// Address is an address in parts.
type Address struct {
	Country string // ISO 3166-1 alpha-2
	Region  string
	City    string
	Line    string // street, house, flat
	KATO    string // code of the classifier of administrative territories; empty abroad
}
