package schema

import (
	"strings"

	"github.com/sandyq/sandyq/vault/token"
)

// Type says what the values of a field are. The names are those of the configuration file.
type Type string

// The types.
const (
	TypeIIN            Type = "iin"             // an Individual Identification Number, twelve digits
	TypePersonName     Type = "person_name"     // a family name, given name or patronymic, at most 100 characters
	TypePhone          Type = "phone"           // E.164
	TypeEmail          Type = "email"           // an addr-spec of RFC 5322 in ASCII, its domain in A-labels
	TypeAddress        Type = "address"         // a text of at most 1,000 characters, or parts
	TypePostalIndex    Type = "postal_index"    // six digits, or seven characters of the new form
	TypeCountry        Type = "country"         // ISO 3166-1 alpha-2
	TypeDate           Type = "date"            // yyyy-mm-dd, 1800 to 2200
	TypeDocumentNumber Type = "document_number" // 4 to 20 of A–Z and 0–9
	TypeText           Type = "text"            // at most 4,000 characters
)

// kind is what a type means. A type is added by a constant, a row in kinds with the next free code, and its normaliser.
type kind struct {
	code       byte // stands for the type in an encoded value; never changed, never used again
	category   Category
	normalise  func(f *Field, text string) (canonical, rule string)
	key        func(canonical string) string
	hasParts   bool
	searchable bool         // may be in the blind index: a value is of one person or a few
	masks      []MaskRule   // the allowed, the default first
	tokens     token.Format // allowed beside token.Opaque, or ""
}

var kinds = map[Type]*kind{
	TypeIIN: {code: 1, category: CategoryIdentity, normalise: normaliseIIN, key: same, searchable: true,
		masks: []MaskRule{MaskLast2, MaskFull}, tokens: token.IIN},
	TypePersonName: {code: 2, category: CategoryIdentity, normalise: normalisePersonName, key: foldName,
		masks: []MaskRule{MaskInitial, MaskFull}},
	TypePhone: {code: 3, category: CategoryContact, normalise: normalisePhone, key: same, searchable: true,
		masks: []MaskRule{MaskLast2, MaskFull}},
	TypeEmail: {code: 4, category: CategoryContact, normalise: normaliseEmail, key: strings.ToLower, searchable: true,
		masks: []MaskRule{MaskEmail, MaskFull}, tokens: token.Email},
	TypeAddress: {code: 5, category: CategoryAddress, normalise: normaliseAddress, key: fold, hasParts: true,
		masks: []MaskRule{MaskFull}},
	TypePostalIndex: {code: 6, category: CategoryAddress, normalise: normalisePostalIndex, key: same,
		masks: []MaskRule{MaskFull}},
	TypeCountry: {code: 7, category: CategoryIdentity, normalise: normaliseCountry, key: same,
		masks: []MaskRule{MaskFull}},
	TypeDate: {code: 8, category: CategoryIdentity, normalise: normaliseDate, key: same,
		masks: []MaskRule{MaskFull}},
	TypeDocumentNumber: {code: 9, category: CategoryDocument, normalise: normaliseDocumentNumber, key: same, searchable: true,
		masks: []MaskRule{MaskFull, MaskLast2}},
	TypeText: {code: 10, category: CategoryOther, normalise: normaliseText, key: same,
		masks: []MaskRule{MaskFull}},
}

// typeOf finds the type of a code.
var typeOf = func() map[byte]Type {
	m := make(map[byte]Type, len(kinds))
	for t, k := range kinds {
		m[k.code] = t
	}
	return m
}()

func (t Type) kind() *kind { return kinds[t] }
