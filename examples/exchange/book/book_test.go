package book_test

import (
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"ms2m.dev/ms2m/examples/exchange/book"
	"ms2m.dev/ms2m/examples/exchange/market"
)

func order(side book.Side, price, quantity uint64) book.Command {
	return book.Command{Side: side, Price: price, Quantity: quantity}
}

// Price goes before time, time among those of one price, and a trade is at the price of the older.
func TestPriceThenTime(t *testing.T) {
	b := book.New()
	for id, c := range []book.Command{order(book.Sell, 101, 5), order(book.Sell, 100, 5), order(book.Sell, 100, 5)} {
		b.Apply(fmt.Sprint("s", id), c)
	}
	got := b.Apply("b", order(book.Buy, 101, 12))
	want := book.Result{Trades: []book.Trade{
		{Buy: "b", Sell: "s1", Price: 100, Quantity: 5},
		{Buy: "b", Sell: "s2", Price: 100, Quantity: 5},
		{Buy: "b", Sell: "s0", Price: 101, Quantity: 2},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if v := b.View(); len(v.Bids) != 0 || len(v.Asks) != 1 || v.Asks[0] != (book.Order{ID: "s0", Price: 101, Quantity: 3}) {
		t.Errorf("%+v", v)
	}
}

// TestReference: whatever the commands, the book does what the naive one does.
func TestReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, naive := book.New(), &market.Reference{}
		for i := range rapid.IntRange(0, 120).Draw(t, "commands") {
			c := book.Command{Cancel: fmt.Sprint(rapid.IntRange(0, 130).Draw(t, "cancel"))}
			if rapid.IntRange(0, 4).Draw(t, "kind") > 0 {
				c = order(rapid.SampledFrom([]book.Side{book.Buy, book.Sell}).Draw(t, "side"),
					rapid.Uint64Range(95, 105).Draw(t, "price"), rapid.Uint64Range(1, 9).Draw(t, "quantity"))
			}
			got, want := b.Apply(fmt.Sprint(i), c), naive.Apply(fmt.Sprint(i), c)
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("command %d, %+v: %+v, want %+v", i, c, got, want)
			}
			v := b.View()
			if want := naive.View(); !reflect.DeepEqual(v, want) {
				t.Fatalf("after command %d: %+v, want %+v", i, v, want)
			}
			if len(v.Bids) > 0 && len(v.Asks) > 0 && v.Bids[0].Price >= v.Asks[0].Price {
				t.Fatalf("after command %d: the book is crossed: %+v", i, v)
			}
		}
	})
}

func TestValidate(t *testing.T) {
	for name, c := range map[string]book.Command{
		"side": {Price: 1, Quantity: 1}, "price": order(book.Buy, 0, 1),
		"quantity": order(book.Sell, 1, 0), "cancel": {Cancel: "a", Price: 1},
	} {
		if err := c.Validate(); err == nil || err.Error()[:len(name)] != name {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, c := range []book.Command{{Cancel: "a"}, order(book.Buy, 1, 1)} {
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
	}
}
