#include "server/token_ledger.h"

#include <gtest/gtest.h>

namespace flashmoe::server {
namespace {

TokenInfo token(const std::string& bytes) { return {.picked = {.bytes = bytes}}; }

/// What of each token is in the text, followed by a bar.
std::string shown(const std::vector<TokenInfo>& tokens) {
  std::string text;
  for (const TokenInfo& one : tokens) text += one.text + "|";
  return text;
}

/// A ledger that has heard of these tokens, each of whole characters.
TokenLedger ledger_of(const std::vector<std::string>& pieces) {
  TokenLedger ledger(/*tells_silent=*/false);
  for (const std::string& piece : pieces) ledger.add(token(piece), piece.size(), false);
  return ledger;
}

TEST(TokenLedger, TellsATokenWhenAllOfItsTextIsTold) {
  TokenLedger ledger = ledger_of({"Hel", "lo", " world"});
  std::vector<TokenInfo> tokens;
  ledger.tell(0, 4, tokens);
  EXPECT_EQ(shown(tokens), "Hel|");
  ledger.tell(4, 11, tokens);
  EXPECT_EQ(shown(tokens), "Hel|lo| world|");
  ledger.finish(tokens);
  EXPECT_EQ(tokens.size(), 3u);
}

TEST(TokenLedger, LeavesOutWhatAStopStringCutAway) {
  TokenLedger ledger = ledger_of({"One", " two.", " END", "!"});
  std::vector<TokenInfo> tokens;
  ledger.tell(0, 5, tokens);  // the stop string begins within " two."
  ledger.finish(tokens);
  EXPECT_EQ(shown(tokens), "One| t|");
}

TEST(TokenLedger, LeavesOutMarksAndLayoutBetweenTexts) {
  TokenLedger ledger = ledger_of({"<think>", "Hm", "</think>", "\n\nYes", ".", "<call>"});
  std::vector<TokenInfo> tokens;
  ledger.tell(19, 22, tokens);
  ledger.tell(22, 23, tokens);
  ledger.finish(tokens);
  EXPECT_EQ(shown(tokens), "Yes|.|");
}

TEST(TokenLedger, KeepsTheTokensOfACharacterTogether) {
  TokenLedger ledger(/*tells_silent=*/false);
  ledger.add(token("a"), 1, false);
  ledger.add(token("\xE6\x98"), 0, false);
  ledger.add(token("\xA5"), 3, false);
  std::vector<TokenInfo> tokens;
  ledger.tell(0, 1, tokens);
  EXPECT_EQ(shown(tokens), "a|");
  ledger.tell(1, 4, tokens);
  EXPECT_EQ(shown(tokens), "a|\xE6\x98|\xA5|");
}

TEST(TokenLedger, TellsACharacterThatWasNeverFinished) {
  TokenLedger ledger(/*tells_silent=*/false);
  ledger.add(token("a"), 1, false);
  ledger.add(token("\xE6\x98"), 0, false);
  ledger.close(4);  // as U+FFFD
  std::vector<TokenInfo> tokens;
  ledger.tell(0, 4, tokens);
  EXPECT_EQ(shown(tokens), "a|\xE6\x98|");
}

TEST(TokenLedger, TellsTokensWithoutTextOnlyIfAsked) {
  for (const bool tells_silent : {false, true}) {
    TokenLedger ledger(tells_silent);
    ledger.add(token("a"), 1, false);
    ledger.add(token("<|im_end|>"), 0, /*is_silent=*/true);
    std::vector<TokenInfo> tokens;
    ledger.tell(0, 1, tokens);
    ledger.finish(tokens);
    EXPECT_EQ(shown(tokens), tells_silent ? "a||" : "a|");
  }
}

}  // namespace
}  // namespace flashmoe::server
