return require("absent")("resty.chash")
