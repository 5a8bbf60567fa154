package handover

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Properties are the AMQP 0-9-1 basic properties of the original message.
type Properties struct {
	ContentType     string     `json:"contentType,omitempty"`
	ContentEncoding string     `json:"contentEncoding,omitempty"`
	DeliveryMode    uint8      `json:"deliveryMode,omitempty"`
	Priority        uint8      `json:"priority,omitempty"`
	CorrelationID   string     `json:"correlationID,omitempty"`
	ReplyTo         string     `json:"replyTo,omitempty"`
	Expiration      string     `json:"expiration,omitempty"`
	MessageID       string     `json:"messageID,omitempty"`
	Timestamp       *time.Time `json:"timestamp,omitempty"`
	Type            string     `json:"type,omitempty"`
	UserID          string     `json:"userID,omitempty"`
	AppID           string     `json:"appID,omitempty"`
	Headers         Table      `json:"headers,omitempty"`
}

// Decimal is AMQP's decimal field value: Value ÷ 10^Scale.
type Decimal struct {
	Scale uint8 `json:"scale"`
	Value int32 `json:"value"`
}

// Table is an AMQP field table. JSON alone would lose the types of its values
// (an int32 is not an int64 to a headers exchange), so each value is written as
// a one-member object named by RabbitMQ's type letter, for example {"I":5}.
type Table map[string]any

// MarshalJSON implements json.Marshaler.
func (t Table) MarshalJSON() ([]byte, error) {
	m := make(map[string]any, len(t))
	for k, v := range t {
		f, err := tag(v)
		if err != nil {
			return nil, fmt.Errorf("header %q: %w", k, err)
		}
		m[k] = f
	}
	return json.Marshal(m)
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *Table) UnmarshalJSON(b []byte) error {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	out := make(Table, len(m))
	for k, raw := range m {
		v, err := untag(raw)
		if err != nil {
			return fmt.Errorf("header %q: %w", k, err)
		}
		out[k] = v
	}
	*t = out
	return nil
}

type field map[string]any

// tag names a value by the letters of RabbitMQ's AMQP 0-9-1 errata.
func tag(v any) (field, error) {
	switch v := v.(type) {
	case nil:
		return field{"V": nil}, nil
	case bool:
		return field{"t": v}, nil
	case int8:
		return field{"b": v}, nil
	case uint8:
		return field{"B": v}, nil
	case int16:
		return field{"s": v}, nil
	case int32:
		return field{"I": v}, nil
	case int:
		return field{"l": strconv.FormatInt(int64(v), 10)}, nil
	case int64: // as text: JSON numbers are doubles to many readers
		return field{"l": strconv.FormatInt(v, 10)}, nil
	case float32:
		return field{"f": v}, nil
	case float64:
		return field{"d": v}, nil
	case string:
		return field{"S": v}, nil
	case []byte:
		return field{"x": base64.StdEncoding.EncodeToString(v)}, nil
	case Decimal:
		return field{"D": v}, nil
	case time.Time:
		return field{"T": v.Unix()}, nil
	case Table:
		return field{"F": v}, nil
	case []any:
		list := make([]field, len(v))
		for i, e := range v {
			f, err := tag(e)
			if err != nil {
				return nil, err
			}
			list[i] = f
		}
		return field{"A": list}, nil
	}
	return nil, fmt.Errorf("no AMQP field type for %T", v)
}

func untag(raw json.RawMessage) (any, error) {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, err
	}
	if len(m) != 1 {
		return nil, fmt.Errorf("a field value has one type letter, found %d", len(m))
	}
	for letter, b := range m {
		switch letter {
		case "V":
			return nil, nil
		case "t":
			return decode[bool](b)
		case "b":
			return decode[int8](b)
		case "B":
			return decode[uint8](b)
		case "s":
			return decode[int16](b)
		case "I":
			return decode[int32](b)
		case "l":
			s, err := decode[string](b)
			if err != nil {
				return nil, err
			}
			return strconv.ParseInt(s, 10, 64)
		case "f":
			return decode[float32](b)
		case "d":
			return decode[float64](b)
		case "S":
			return decode[string](b)
		case "x":
			s, err := decode[string](b)
			if err != nil {
				return nil, err
			}
			return base64.StdEncoding.DecodeString(s)
		case "D":
			return decode[Decimal](b)
		case "T":
			s, err := decode[int64](b)
			return time.Unix(s, 0).UTC(), err
		case "F":
			return decode[Table](b)
		case "A":
			return untagList(b)
		}
		return nil, fmt.Errorf("unknown field type %q", letter)
	}
	return nil, nil
}

func untagList(b json.RawMessage) (any, error) {
	raws, err := decode[[]json.RawMessage](b)
	if err != nil {
		return nil, err
	}
	list := make([]any, len(raws))
	for i, r := range raws {
		if list[i], err = untag(r); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func decode[T any](b []byte) (T, error) {
	var v T
	err := json.Unmarshal(b, &v)
	return v, err
}
