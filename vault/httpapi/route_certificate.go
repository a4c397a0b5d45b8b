package httpapi

import (
	"slices"
	"strings"

	"golang.org/x/text/language"

	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/audit/certificate/paper"
	"github.com/sandyq/sandyq/vault/fault"
)

// opCertificate is erasure.show, of which an erasure's certificate is a part: one permission.
const opCertificate = "erasure.certificate"

const (
	formatJSON = "json"
	formatPDF  = "pdf"
)

// issued is the shape of a certificate's going, in JSON or set on a page.
func issued() shape {
	s := shape{query: []string{"format", "lang"}}
	s.handle = func(x *exchange, call vault.Call) error {
		format, in, err := x.page()
		if err != nil {
			return err
		}
		mediaType := []string{"application/json"}
		if format == formatPDF {
			mediaType = []string{"application/pdf"}
		}
		return raw(mediaType, func(x *exchange, call vault.Call) ([]byte, error) {
			c, err := x.service.Certificate(x.r.Context(), call, x.r.PathValue("erasure"))
			if err != nil || format == formatJSON {
				return documentOf(c), err
			}
			return paper.Set(c.Verified, c.Document, in)
		}).handle(x, call)
	}
	return s
}

func documentOf(c *vault.IssuedCertificate) []byte {
	if c == nil {
		return nil
	}
	return c.Document
}

// page is the form that is asked for: by parameters, or else by what the client accepts.
func (x *exchange) page() (format string, in paper.Language, err error) {
	format, in = x.query.text("format"), paper.Language(x.query.text("lang"))
	if format == "" {
		format = formatJSON
		accepts := x.r.Header.Get("Accept")
		if strings.Contains(accepts, "application/pdf") && !strings.Contains(accepts, "application/json") {
			format = formatPDF
		}
	}
	if in == "" {
		tags, _, _ := language.ParseAcceptLanguage(x.r.Header.Get("Accept-Language")) // what cannot be read asks for nothing
		_, best, _ := pageLanguages.Match(tags...)
		in = paper.Languages[best]
	}
	switch {
	case format != formatJSON && format != formatPDF:
		return "", "", fault.Bad("format", "json or pdf")
	case !slices.Contains(paper.Languages, in):
		return "", "", fault.Bad("lang", "kk, ru or en")
	}
	return format, in, nil
}

var pageLanguages = language.NewMatcher([]language.Tag{language.Kazakh, language.Russian, language.English})
