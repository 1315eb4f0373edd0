"""Files whose hash in a bundle signature depends on how it is taken, and the SHA-256 that OPA 1.22.0 gives each."""

# Values whose hash depends on how they are written: escapes, order, numbers by their text, line separators.
TRICKY = """{"gateway": {"config": {
 "t": ["\\u0000\\u001f\\u007f", "<&>", "\\u2028\\u2029", "\\"\\\\\\/\\b\\f\\n\\r\\t", "é😀"],
 "n": [1.0, 1e3, 1E+2, -0, -0.0, 0.10, 9007199254740992],
 "": null, "\\ufffd": true, "😀": 1, "é": [], "z": {}}}}"""
FILES = {
    ".manifest": b'{ "roots": ["gateway"], "revision": "r1", "metadata": {"missiongate": {"sequence": 3}, "n": 1.50} }',
    "data.json": TRICKY.encode(),
    "gateway/more/data.yaml": b"b: [1, -7, x y, 'yes', \"12:30\"]\na: {}\n",
    "gateway/step/step.rego": b"package gateway.step\n\nimport rego.v1\n\ndefault decision := {}\n",
    "gateway/step/step_test.rego": b"package gateway.step\n\ntest_x := true\n",
    "schemas/step.json": b'{ "b": 1, "a": 2 }\n',
    "notes é.txt": b"\xff\xfe",
}

# `opa sign -b .`; tests/integration/test_bundle_signatures_opa.py holds them to the real one.
HASHES = {
    ".manifest": "9b723b1995064b8ebe06aa12920d286ac041d9bbde8b965d972f527c13e4d0ca",
    "data.json": "1c80ce74df48c145763c1a3927ed8997dafebe7fafcfc531a079772da3cd3264",
    "gateway/more/data.yaml": "88f217ef8f567a76a01cb6e4efbd5c431f9b3b958aa860aee2eb7191f9f70dae",
    "gateway/step/step.rego": "5c1285e7ac79063552232f8f2f4402ee4e08c6162fbcfa97b777d1b06fd561bc",
    "gateway/step/step_test.rego": "8b340b76129db7d7075a2cf5ab27ffc816af8495ebb2580492df2b5d01fc2d25",
    "notes é.txt": "b3d510ef04275ca8e698e5b3cbb0ece3949ef9252f0cdc839e9ee347409a2209",
    "schemas/step.json": "60c24ec29eb9365c8edbd8183e566e126ea3c1b59d4b0fd1fed8644d8b94141d",
}
