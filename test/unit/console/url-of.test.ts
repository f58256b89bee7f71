import { expect, test } from "vitest";
import { urlOf } from "../../../src/console/api/url-of.ts";

test("fields of the path are escaped; the others of a GET form its query, without empty ones", () => {
  expect(urlOf("/x/{id}", true, { id: "a/b?", sub: "ada & ben", address: "", after: undefined })).toEqual({
    url: "/x/a%2Fb%3F?sub=ada+%26+ben",
    rest: null,
  });
});

test("the other fields of a POST form its body", () => {
  expect(urlOf("/x/{id}", false, { id: "1", forMs: 5 })).toEqual({ url: "/x/1", rest: { forMs: 5 } });
  expect(urlOf("/x/{id}", false, { id: "1" })).toEqual({ url: "/x/1", rest: null });
});

test("a text is a body", () => expect(urlOf("/plan", false, "a: 1")).toEqual({ url: "/plan", rest: "a: 1" }));
